{#- A key that is NULL. -#}
{{
    config(
        materialized='incremental', incremental_strategy='merge', file_format='delta',
        unique_key=['id']
    )
}}

select
    cast(null as bigint) as id,
    'same row every run' as note
