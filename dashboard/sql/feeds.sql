-- One row per feed: how new its newest data are, and what its last day brought, up to its last
-- batch with records. Late are records that had waited for more than fifteen minutes.
with

items as (

    select
        feed,
        ingested_at,
        modified_at,
        received,
        kept,
        duplicates,
        quarantined,
        date_diff('millisecond', modified_at, ingested_at) / 1000 as waited_s,
        max(ingested_at) over (partition by feed) as last_batch_at
    from bronze.ledger
    where
        received > 0
        and kept + quarantined > 0

),

feeds as (

    select
        feed,
        last_batch_at,
        max(modified_at) as newest_at,
        sum(received) as received,
        sum(kept) as kept,
        sum(duplicates) as duplicates,
        sum(quarantined) as quarantined,
        quantile_disc(waited_s, 0.95) as waited_p95_s,
        coalesce(sum(kept + quarantined) filter (where waited_s > 900), 0) as late
    from items
    where ingested_at > last_batch_at - interval 1 day
    group by feed, last_batch_at

)

select *
from feeds
order by feed
