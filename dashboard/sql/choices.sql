-- One row per filter and value that there is in the interval, whatever is chosen.
with

cells as (

    select
        unnest([
            {'name': 'country', 'value': country},
            {'name': 'isp', 'value': isp},
            {'name': 'edge', 'value': edge},
            {'name': 'device_type', 'value': device_type},
            {'name': 'app_version', 'value': app_version},
            {'name': 'video_id', 'value': video_id}
        ], recursive := true),
        sessions
    from gold.noc_playback
    where
        minute >= getvariable('from_minute')
        and minute < getvariable('to_minute')

),

choices as (

    select
        name,
        value,
        sum(sessions) as session_minutes,
        row_number() over (partition by name order by sum(sessions) desc, value) as place
    from cells
    group by name, value

)

select
    name,
    value
from choices
where place <= 200
order by name, value
