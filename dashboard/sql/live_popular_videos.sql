-- One row per video of the newest window of two minutes: how often it was begun.
with

newest as (

    select max(window_start) as window_start
    from gold.live_popular_videos

)

select
    videos.window_start,
    videos.video_id,
    videos.recent_views
from gold.live_popular_videos as videos
inner join newest using (window_start)
order by videos.recent_views desc, videos.video_id
limit 10
