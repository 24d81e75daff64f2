-- One row: the cells of the interval, and how many of them were mended by events that arrived more
-- than fifteen minutes after their minute.
with

late_cells as (

    select
        count(*) as cells,
        count_if(newest_arrival_at > minute + interval 16 minutes) as late,
        max(minute) as newest_minute,
        max(newest_arrival_at) as newest_arrival_at,
        coalesce(sum(sessions), 0) as session_minutes,
        coalesce(sum(bot_sessions), 0) as bot_session_minutes
    from chosen_playback

)

select *
from late_cells
