-- One row per window of a minute, the newest thirty: about how many watched the chosen video.
with

windows as (

    select distinct window_start
    from gold.live_concurrent_viewers
    order by window_start desc
    limit 30

),

viewers as (

    select
        window_start,
        concurrent_viewers
    from gold.live_concurrent_viewers
    where video_id = getvariable('video_id')

),

live_video_viewers as (

    select
        windows.window_start,
        coalesce(viewers.concurrent_viewers, 0) as concurrent_viewers
    from windows
    left outer join viewers using (window_start)

)

select *
from live_video_viewers
order by window_start desc
