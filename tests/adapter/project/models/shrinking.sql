{#- The second run lacks a column of the first. -#}
{{
    config(
        materialized='incremental', incremental_strategy='merge', file_format='delta',
        unique_key=['id'], on_schema_change='sync_all_columns'
    )
}}

select
    {% if not is_incremental() -%}
    'old' as dropped_later,
    {% endif -%}
    1 as id
