{{ config(materialized='view', contract={'enforced': false}, schema='silver') }}
with events as (select * from {{ source('bronze', 'events') }})
select
    events.ts,
    upper(events.type) as type,
    events.player,
    case when events.ts > events.arrived then 'future' end as reject_reason
from events
