-- The start-up times of chosen_playback: how many in which bucket of 5 %, by cell.
select
    minute,
    country,
    isp,
    edge,
    unnest(startup_histogram, recursive := true)
from chosen_playback
where startups > 0
