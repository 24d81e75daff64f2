-- One row per window of five minutes, the newest thirty: the share of clients that report errors.
select
    window_start,
    active_clients,
    failing_clients,
    failing_share
from gold.live_client_errors
order by window_start desc
limit 30
