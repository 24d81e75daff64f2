-- One row per filter and value that there is in the interval, whatever is chosen.
with

cells as (

    select *
    from gold.noc_playback
    where
        minute >= getvariable('from_minute')
        and minute < getvariable('to_minute')

),

found as (

    select
        'country' as name,
        country as value,
        sum(sessions) as session_minutes
    from cells
    group by country

    union all
    select
        'isp' as name,
        isp as value,
        sum(sessions) as session_minutes
    from cells
    group by isp

    union all
    select
        'edge' as name,
        edge as value,
        sum(sessions) as session_minutes
    from cells
    group by edge

    union all
    select
        'device_type' as name,
        device_type as value,
        sum(sessions) as session_minutes
    from cells
    group by device_type

    union all
    select
        'app_version' as name,
        app_version as value,
        sum(sessions) as session_minutes
    from cells
    group by app_version

    union all
    select
        'video_id' as name,
        video_id as value,
        sum(sessions) as session_minutes
    from cells
    group by video_id

),

choices as (

    select
        name,
        value,
        row_number() over (partition by name order by session_minutes desc, value) as place
    from found

)

select
    name,
    value
from choices
where place <= 200
order by name, value
