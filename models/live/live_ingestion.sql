{#- One row per minute and feed: what the feed's loader took up in that minute. -#}
{{
    config(
        unique_key = ['window_start', 'feed'],
        prune_by = 'window_start',
        clustered_by = ['window_start'],
        trigger_seconds = 5
    )
}}

with

ledger as (

    select
        ingested_at,
        feed,
        item,
        size_bytes,
        received,
        kept,
        duplicates,
        quarantined
    from {{ stream(
        source('bronze_loaders', 'ledger'), event_time='ingested_at', delay='1 minute'
    ) }} as entries
    -- a replay moves records that had arrived before
    where not startswith(query_id, 'replay-')

),

live_ingestion as (

    select
        window(ingested_at, '1 minute').start as window_start,
        feed,
        count_if(item <> '') as item_count,
        sum(size_bytes) as size_bytes,
        sum(received) as received,
        sum(kept) as kept,
        sum(duplicates) as duplicates,
        sum(quarantined) as quarantined
    from ledger
    group by window(ingested_at, '1 minute'), feed

)

select * from live_ingestion
