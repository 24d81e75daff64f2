{#- A row that breaks the model's check constraint. -#}
{{ config(materialized='table', file_format='delta') }}

select -1 as id
