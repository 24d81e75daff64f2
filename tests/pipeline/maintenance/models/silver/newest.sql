{#- One row per id. -#}
{{ config(materialized='view') }}

select
    id,
    max(day) as day
from {{ source('bronze', 'arrivals') }}
group by id
