{#- Clustering by a column, without buckets. -#}
{{
    config(
        materialized='incremental', incremental_strategy='merge', file_format='delta',
        unique_key=['id'], clustered_by=['day']
    )
}}

select
    1 as id,
    date '2024-01-01' as day
