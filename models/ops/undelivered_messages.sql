{#- One row per message of a streaming model that did not reach its topic: not yet, or given up. -#}
{{ config(materialized = 'view') }}

with

outbox as (

    select
        message_id,
        model,
        topic,
        window_start,
        created_at
    from {{ source('bronze_loaders', 'outbox') }}

),

deliveries as (

    select
        message_id,
        state,
        attempts,
        error
    from {{ source('bronze_loaders', 'deliveries') }}

),

undelivered_messages as (

    select
        outbox.message_id,
        outbox.model,
        outbox.topic,
        outbox.window_start,
        outbox.created_at,
        coalesce(deliveries.state, 'waiting') as outcome,
        deliveries.attempts,
        deliveries.error
    from outbox
    left outer join deliveries on outbox.message_id = deliveries.message_id
    where deliveries.state is null or deliveries.state = 'dead'

)

select * from undelivered_messages
