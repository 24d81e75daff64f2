-- One row per video of the newest window of a minute: about how many viewers watched it.
select
    window_start,
    video_id,
    concurrent_viewers
from gold.live_concurrent_viewers
where window_start = (select max(window_start) from gold.live_concurrent_viewers)
order by concurrent_viewers desc, video_id
limit 10
