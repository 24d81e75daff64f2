{#- One of two models with one alias in two schemas. -#}
{{
    config(
        materialized='incremental', incremental_strategy='merge', file_format='delta',
        unique_key=['id'], schema='twin_left', alias='twin'
    )
}}

select
    1 as id,
    'left' as side
