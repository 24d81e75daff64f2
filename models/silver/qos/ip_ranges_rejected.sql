{#- One row per bronze record that is no range of addresses, with the reason. A view, as
    stocks_daily_prices_rejected is. -#}
{{ config(materialized = 'view') }}

with

ip_ranges_parsed as (

    select _bucket, _key, _version, _ordinal, reject_reason, data, _modified_at, _batch_id
    from {{ ref('ip_ranges_parsed') }}

),

ip_ranges_rejected as (

    select _bucket, _key, _version, _ordinal, reject_reason, data, _modified_at, _batch_id
    from ip_ranges_parsed
    where reject_reason is not null

)

select * from ip_ranges_rejected
