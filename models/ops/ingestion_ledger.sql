{#- One row per feed, batch and object (or shard): what the loaders wrote of it, and how long it
    had been waiting. -#}
{{ config(materialized = 'view') }}

with

ledger as (

    select * from {{ source('bronze_loaders', 'ledger') }}

),

-- a replay adds to what the ledger says of an earlier batch
ledger_by_item as (

    select
        feed,
        batch_id,
        container,
        item,
        version,
        max(query_id) filter (where received >= 0) as query_id,
        min(received) < 0 as was_replayed,
        sum(size_bytes) as size_bytes,
        sum(received) as received,
        sum(kept) as kept,
        sum(duplicates) as duplicates,
        sum(quarantined) as quarantined,
        -- ordinals sort by their length first; sequence numbers have one length
        min(struct(length(first_position) as digits, first_position as place)) filter (
            where first_position is not null
        ) as first_place,
        max(struct(length(last_position) as digits, last_position as place)) filter (
            where last_position is not null
        ) as last_place,
        max(modified_at) as modified_at,
        max(ingested_at) as ingested_at
    from ledger
    group by feed, batch_id, container, item, version

),

ingestion_ledger as (

    select
        feed,
        batch_id,
        container,
        item,
        version,
        query_id,
        was_replayed,
        size_bytes,
        received,
        kept,
        duplicates,
        quarantined,
        first_place.place as first_position,
        last_place.place as last_position,
        -- of a shard the version is the last sequence number
        coalesce(version = last_place.place, false) as is_shard,
        modified_at,
        ingested_at,
        (unix_micros(ingested_at) - unix_micros(modified_at)) / 1e6D as waited_seconds
    from ledger_by_item

)

select * from ingestion_ledger
