{#- One row per feed: how new its newest data are, and how long the last day's had been waiting. -#}
{{ config(materialized = 'view') }}

with

new_items as (

    select
        feed,
        batch_id,
        kept + quarantined as records,
        modified_at,
        ingested_at,
        waited_seconds,
        max(ingested_at) over (partition by feed) as last_ingested_at
    from {{ ref('ingestion_ledger') }}
    where kept + quarantined > 0

),

freshness as (

    select
        feed,
        max(batch_id) as last_batch_id,
        last_ingested_at as last_batch_at,
        max(modified_at) as newest_at,
        unix_seconds(current_timestamp()) - unix_seconds(last_ingested_at) as silent_seconds,
        sum(records) as day_records,
        percentile(waited_seconds, 0.5) as day_median_waited_seconds,
        percentile(waited_seconds, 0.95) as day_p95_waited_seconds,
        max(waited_seconds) as day_max_waited_seconds
    from new_items
    where ingested_at > last_ingested_at - interval 1 day
    group by feed, last_ingested_at

)

select * from freshness
