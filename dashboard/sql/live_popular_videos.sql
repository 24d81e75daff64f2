-- One row per video of the newest window of two minutes: how often it was begun.
select
    window_start,
    video_id,
    recent_views
from gold.live_popular_videos
where window_start = (select max(window_start) from gold.live_popular_videos)
order by recent_views desc, video_id
limit 10
