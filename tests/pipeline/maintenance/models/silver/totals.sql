{#- One row per id, computed anew in every run. -#}
{{ config(unique_key=['id']) }}

select
    id,
    sum(value) as total
from {{ source('bronze', 'arrivals') }}
group by id
