-- One row: when the newest of all player events arrived. By the viewers' clocks it might be
-- tomorrow.
select max(newest_arrival_at) as newest_arrival_at
from gold.noc_playback
