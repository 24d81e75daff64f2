{#- insert_overwrite by partition. -#}
{{
    config(
        materialized='incremental', incremental_strategy='insert_overwrite',
        file_format='delta', partition_by='day'
    )
}}

select
    1 as id,
    date '2024-01-01' as day
