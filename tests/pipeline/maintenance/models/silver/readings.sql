{#- One row per id and day: the delivery that was updated last. -#}
{{
    config(
        unique_key=['id', 'day'], prune_by='day', latest_by=['updated'],
        clustered_by=['day'], optimize_min_small_files=4
    )
}}

select
    id,
    day,
    value,
    updated,
    _batch_id
from {{ source('bronze', 'arrivals') }}
where {{ is_new('_batch_id') }}
