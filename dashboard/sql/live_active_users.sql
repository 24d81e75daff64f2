-- One row per window of two minutes, the newest thirty: about how many viewers were watching.
select
    window_start,
    active_users
from gold.live_active_users
order by window_start desc
limit 30
