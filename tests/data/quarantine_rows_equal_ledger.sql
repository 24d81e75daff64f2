{#- Guards that every record the ledger calls quarantined can be looked at in bronze.quarantine,
    and nothing else is there: per feed, batch and object (or shard). What is past the retention of
    bronze.quarantine may be gone. -#}
{%- set kept = retentions() | selectattr('relation.identifier', 'equalto', 'quarantine') | first %}
{%- set is_expired = 'in_ledger.planned_at < current_date() - ' ~ kept.days if kept else 'false' %}
with

in_ledger as (

    select
        feed,
        batch_id,
        container,
        item,
        sum(quarantined) as records,
        min(ingested_at) as planned_at
    from {{ source('bronze_loaders', 'ledger') }}
    group by feed, batch_id, container, item
    having sum(quarantined) > 0

),

in_quarantine as (

    select
        feed,
        batch_id,
        container,
        item,
        count(*) as records
    from {{ source('bronze_loaders', 'quarantine') }}
    group by feed, batch_id, container, item

),

quarantine_rows_equal_ledger as (

    select
        coalesce(in_ledger.feed, in_quarantine.feed) as feed,
        coalesce(in_ledger.batch_id, in_quarantine.batch_id) as batch_id,
        coalesce(in_ledger.container, in_quarantine.container) as container,
        coalesce(in_ledger.item, in_quarantine.item) as item,
        in_ledger.records as in_ledger,
        in_quarantine.records as in_quarantine
    from in_ledger
    full outer join in_quarantine
        on
            in_ledger.feed = in_quarantine.feed
            and in_ledger.batch_id = in_quarantine.batch_id
            and in_ledger.container = in_quarantine.container
            and in_ledger.item = in_quarantine.item
    where
        in_ledger.records is distinct from in_quarantine.records
        and not (in_quarantine.records is null and {{ is_expired }})

)

select * from quarantine_rows_equal_ledger
