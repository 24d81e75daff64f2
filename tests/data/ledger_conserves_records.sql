{#- Guards the books of the loaders: of every object, each record received was kept, recognised
    as a duplicate, or quarantined, and no count is missing. A replay takes records back from the
    batch that had quarantined them, in a row of its own below zero: so no row need be above zero,
    but all rows of a batch and object together are. -#}
with

ledger as (

    select * from {{ source('bronze_loaders', 'ledger') }}

),

unbalanced as (

    select
        feed,
        batch_id,
        container,
        item,
        version,
        received,
        kept,
        duplicates,
        quarantined
    from ledger
    where (received = kept + duplicates + quarantined) is not true

),

below_zero as (

    select
        feed,
        batch_id,
        container,
        item,
        version,
        sum(received) as received,
        sum(kept) as kept,
        sum(duplicates) as duplicates,
        sum(quarantined) as quarantined
    from ledger
    group by feed, batch_id, container, item, version
    having least(sum(received), sum(kept), sum(duplicates), sum(quarantined)) < 0

),

ledger_conserves_records as (

    select * from unbalanced
    union all
    select * from below_zero

)

select * from ledger_conserves_records
