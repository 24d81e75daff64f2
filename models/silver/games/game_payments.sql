{#- One row per report of a purchase, refund, advertisement shown or paid install: what it brought,
    less than 0 where it cost. A view: it is three columns of four tables, and a report that comes
    late can make another one of the same transaction count no longer. -#}
{{ config(materialized = 'view') }}

with

purchases as (

    select *
    from {{ ref('game_iap_purchase') }}

),

refunds as (

    select *
    from {{ ref('game_iap_refund') }}

),

advertisements as (

    select *
    from {{ ref('game_ad_impression') }}

),

installs as (

    select *
    from {{ ref('game_app_install') }}

),

rates as (

    select
        currency,
        array_sort(collect_list(struct(
            valid_from,
            cast(usd_per_unit / power(10, minor_digits) as decimal(18, 12)) as usd_per_minor
        ))) as rates
    from {{ ref('game_currencies') }}
    group by currency

),

-- the same transaction is one purchase, however often it is reported
reported_purchases as (

    select
        game_id,
        player_id,
        event_id,
        transaction_id,
        happened_on,
        amount_minor,
        currency,
        receipt_valid,
        row_number() over (
            partition by game_id, coalesce(transaction_id, event_id) order by event_at, event_id
        ) = 1 as is_first_report,
        max(_batch_id) over (
            partition by game_id, coalesce(transaction_id, event_id)
        ) as _batch_id,
        moved_from
    from purchases

),

-- the store may tell of a refund by the transaction alone
refunds_of_players as (

    select
        refunds.game_id,
        coalesce(refunds.player_id, reported_purchases.player_id) as player_id,
        refunds.event_id,
        refunds.happened_on,
        refunds.amount_minor,
        refunds.currency,
        refunds._batch_id,
        refunds.moved_from
    from refunds
    left outer join reported_purchases
        on
            refunds.game_id = reported_purchases.game_id
            and refunds.transaction_id = reported_purchases.transaction_id
            and reported_purchases.is_first_report

),

in_minor_units as (

    select
        game_id,
        player_id,
        event_id,
        'purchase' as kind,
        happened_on,
        cast(amount_minor as decimal(18, 0)) as amount_minor,
        currency,
        is_first_report and receipt_valid is distinct from false as is_counted,
        is_first_report,
        receipt_valid,
        _batch_id,
        moved_from
    from reported_purchases
    union all
    select
        game_id,
        player_id,
        event_id,
        'refund' as kind,
        happened_on,
        -cast(amount_minor as decimal(18, 0)) as amount_minor,
        currency,
        true as is_counted,
        true as is_first_report,
        cast(null as boolean) as receipt_valid,
        _batch_id,
        moved_from
    from refunds_of_players
    union all
    select
        game_id,
        player_id,
        event_id,
        'install' as kind,
        happened_on,
        -cast(cost_minor as decimal(18, 0)) as amount_minor,
        currency,
        true as is_counted,
        true as is_first_report,
        cast(null as boolean) as receipt_valid,
        _batch_id,
        moved_from
    from installs
    where cost_minor is not null

),

in_usd as (

    select
        in_minor_units.*,
        cast(in_minor_units.amount_minor * try_element_at(
            filter(rates.rates, rate -> rate.valid_from <= in_minor_units.happened_on), -1
        ).usd_per_minor as decimal(37, 12)) as amount_usd
    from in_minor_units
    left outer join rates
        on in_minor_units.currency = rates.currency

),

game_payments as (

    select
        game_id,
        event_id,
        kind,
        player_id,
        happened_on,
        amount_usd,
        is_counted,
        is_first_report,
        receipt_valid,
        moved_from,
        _batch_id
    from in_usd
    union all
    select
        game_id,
        event_id,
        'advertisement' as kind,
        player_id,
        happened_on,
        -- paid by the thousand
        cast(cast(ecpm_usd as decimal(18, 6)) * 0.001 as decimal(37, 12)) as amount_usd,
        true as is_counted,
        true as is_first_report,
        cast(null as boolean) as receipt_valid,
        moved_from,
        _batch_id
    from advertisements

)

select * from game_payments
