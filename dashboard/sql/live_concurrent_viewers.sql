-- One row per video of the newest window of a minute: about how many viewers watched it.
with

newest as (

    select max(window_start) as window_start
    from gold.live_concurrent_viewers

)

select
    videos.window_start,
    videos.video_id,
    videos.concurrent_viewers
from gold.live_concurrent_viewers as videos
inner join newest using (window_start)
order by videos.concurrent_viewers desc, videos.video_id
limit 10
