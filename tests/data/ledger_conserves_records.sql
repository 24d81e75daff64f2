{#- Guards the books of the loaders: of every object, each record received was kept, recognised
    as a duplicate, or quarantined, and no count is missing or below zero. -#}
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
from {{ source('bronze_loaders', 'ledger') }}
where
    (received = kept + duplicates + quarantined) is not true
    or least(received, kept, duplicates, quarantined) < 0
