-- One row: when the newest of all events of games arrived.
select max(newest_arrival_at) as newest_arrival_at
from gold.game_judgements
