{#- One row per feed: what the books of its loader lack, or have twice. All zeros is the proof. -#}
{{ config(materialized = 'view') }}

with

ingestion_ledger as (

    select * from {{ ref('ingestion_ledger') }}

),

batches as (

    select
        feed,
        batch_id,
        max(query_id) as query_id
    from ingestion_ledger
    group by feed, batch_id

),

batches_in_order as (

    select
        feed,
        batch_id,
        query_id,
        lag(batch_id, 1, -1) over (partition by feed order by batch_id) as batch_id_before,
        lag(query_id) over (partition by feed order by batch_id) as query_id_before
    from batches

),

-- another query, or a replay, may leave out numbers; a query never does
missing_batches as (

    select
        feed,
        batch_id - batch_id_before - 1 as missing_batches,
        0 as missing_records,
        0 as records_twice
    from batches_in_order
    where query_id_before is null or query_id = query_id_before

),

objects as (

    select
        feed,
        sum(kept + quarantined) as records,
        max(coalesce(cast(last_position as bigint), -1)) + 1 as places
    from ingestion_ledger
    where not is_shard
    group by feed, container, item, version
    -- where a replay took records back, what replaced them may have other places
    having not coalesce(bool_or(was_replayed), false)

),

records_without_a_place as (

    select
        feed,
        0 as missing_batches,
        greatest(places - records, 0) as missing_records,
        greatest(records - places, 0) as records_twice
    from objects

),

shards_in_order as (

    select
        feed,
        kept + quarantined as records,
        first_position,
        lag(last_position) over (
            partition by feed, query_id, container, item order by batch_id
        ) as last_position_before
    from ingestion_ledger
    where is_shard

),

shards_that_went_back as (

    select
        feed,
        0 as missing_batches,
        0 as missing_records,
        records as records_twice
    from shards_in_order
    where first_position <= last_position_before

),

findings as (

    select * from missing_batches
    union all
    select * from records_without_a_place
    union all
    select * from shards_that_went_back

),

ingestion_gaps as (

    select
        feed,
        sum(missing_batches) as missing_batches,
        sum(missing_records) as missing_records,
        sum(missing_batches) + sum(missing_records) as gaps,
        sum(records_twice) as duplicates
    from findings
    group by feed

)

select * from ingestion_gaps
