{#- One row per bronze record of a filing that was refused, with its reason. A view, because a
    table of rejects has no cursor: while nothing is refused its newest batch stays behind, and
    every run would read bronze again from there. `where _batch_id > …` reads new files only. -#}
{{ config(materialized = 'view') }}

with

stocks_fundamentals_parsed as (

    select _bucket, _key, _version, _ordinal, reject_reason, data, _modified_at, _batch_id
    from {{ ref('stocks_fundamentals_parsed') }}

),

stocks_fundamentals_rejected as (

    select _bucket, _key, _version, _ordinal, reject_reason, data, _modified_at, _batch_id
    from stocks_fundamentals_parsed
    where reject_reason is not null

)

select * from stocks_fundamentals_rejected
