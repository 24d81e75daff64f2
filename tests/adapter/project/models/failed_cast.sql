{#- A cast that fails, an overflow; ANSI mode would raise. -#}
{{ config(materialized='table', file_format='delta') }}

select
    cast('no number' as int) as failed_cast,
    2147483647 + 1 as wrapped
