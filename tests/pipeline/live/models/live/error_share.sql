{{ config(
    unique_key=['window_start'], prune_by=['window_start'], clustered_by=['window_start'],
    start=var('error_share_start', 'earliest'),
    sink={'sns': {
        'topic': var('topic', ''),
        'when': 'errors >= 2',
        'subject': 'errors',
        'message': '{errors} errors of {events} events since {window_start}',
        'attributes': {'update_type': 'errors', 'nothing': ''},
        'idempotency_key': ['window_start'],
    }},
) }}
select
    window(ts, '1 minute').start as window_start,
    count(*) as events,
    count_if(type = 'ERROR') as errors
from {{ stream(
    ref('fit_events'), event_time='ts', delay='30 seconds', where='reject_reason is null'
) }} as fit
group by window(ts, '1 minute')
{{ var('having', '') }}
