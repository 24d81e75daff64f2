-- One row per feed and reason: the records of the last day of quarantine that were not taken.
with

records as (

    select
        feed,
        reason,
        ingested_at,
        max(ingested_at) over () as newest_at
    from bronze.quarantine

),

quarantine as (

    select
        feed,
        reason,
        count(*) as records,
        max(ingested_at) as last_at
    from records
    where ingested_at > newest_at - interval 1 day
    group by feed, reason

)

select *
from quarantine
order by records desc, feed, reason
limit 50
