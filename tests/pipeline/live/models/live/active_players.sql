{{ config(unique_key=['window_start'], prune_by='window_start', clustered_by='window_start') }}
select
    window(ts, '120 seconds', '60 seconds').start as window_start,
    approx_count_distinct(player) as players,
    count(*) as events
from {{ stream(source('bronze', 'events'), event_time='ts', delay='30 seconds', where='ts <= arrived') }} as events
where type = 'STREAM'
group by window(ts, '120 seconds', '60 seconds')
