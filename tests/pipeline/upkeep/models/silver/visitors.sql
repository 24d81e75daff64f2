{#- One row per id. -#}
{{ config(unique_key=['id'], clustered_by=['id']) }}

select
    id,
    _batch_id
from {{ source('bronze', 'visits') }}
where {{ is_new('_batch_id') }}
