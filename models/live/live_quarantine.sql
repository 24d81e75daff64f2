{#- One row per five minutes, a new one each minute, and feed: the share of its records that nobody
    could read. -#}
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
        received,
        duplicates,
        quarantined
    from {{ stream(
        source('bronze_loaders', 'ledger'), event_time='ingested_at', delay='1 minute'
    ) }} as entries
    -- a replay moves records that had arrived before
    where not startswith(query_id, 'replay-')

),

counts as (

    select
        window(ingested_at, '5 minutes', '1 minute').start as window_start,
        feed,
        sum(received - duplicates) as records,
        sum(quarantined) as quarantined
    from ledger
    group by window(ingested_at, '5 minutes', '1 minute'), feed

),

live_quarantine as (

    select
        window_start,
        feed,
        records,
        quarantined,
        quarantined / records as quarantined_share
    from counts

)

select * from live_quarantine
