{#- One row per game and day with players, purchases, refunds or advertisements: what they brought.
    A refund counts on its own day, as the money does. -#}
{{
    config(
        unique_key = ['revenue_date', 'game_id'],
        prune_by = 'revenue_date',
        clustered_by = ['revenue_date']
    )
}}

with

-- the same transaction is one purchase, however often it is reported
purchases as (

    select
        game_id,
        happened_on as revenue_date,
        player_id,
        amount_minor,
        currency,
        receipt_valid,
        row_number() over (
            partition by game_id, coalesce(transaction_id, event_id) order by event_at, event_id
        ) = 1 as is_first_report,
        max(_batch_id) over (
            partition by game_id, coalesce(transaction_id, event_id)
        ) as _purchases_batch_id
    from {{ ref('game_iap_purchase') }}

),

refunds as (

    select
        game_id,
        happened_on as revenue_date,
        amount_minor,
        currency,
        _batch_id as _refunds_batch_id
    from {{ ref('game_iap_refund') }}

),

ads as (

    select
        game_id,
        happened_on as revenue_date,
        ecpm_usd,
        _batch_id as _ads_batch_id
    from {{ ref('game_ad_impression') }}

),

players as (

    select
        game_id,
        activity_date as revenue_date,
        dau,
        _batch_id as _players_batch_id
    from {{ ref('players_daily') }}

),

days_to_form as (

    select
        game_id,
        revenue_date
    from purchases
    where {{ is_new('_purchases_batch_id', '_purchases_batch_id') }}
    union distinct
    select
        game_id,
        revenue_date
    from refunds
    where {{ is_new('_refunds_batch_id', '_refunds_batch_id') }}
    union distinct
    select
        game_id,
        revenue_date
    from ads
    where {{ is_new('_ads_batch_id', '_ads_batch_id') }}
    union distinct
    select
        game_id,
        revenue_date
    from players
    where {{ is_new('_players_batch_id', '_players_batch_id') }}

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

purchases_in_usd as (

    select
        purchases.*,
        purchases.is_first_report
        and purchases.receipt_valid is distinct from false as is_paid,
        cast(purchases.amount_minor as decimal(18, 0)) * try_element_at(
            filter(rates.rates, rate -> rate.valid_from <= purchases.revenue_date), -1
        ).usd_per_minor as amount_usd
    from purchases
    left outer join rates
        on purchases.currency = rates.currency

),

refunds_in_usd as (

    select
        refunds.*,
        cast(refunds.amount_minor as decimal(18, 0)) * try_element_at(
            filter(rates.rates, rate -> rate.valid_from <= refunds.revenue_date), -1
        ).usd_per_minor as amount_usd
    from refunds
    left outer join rates
        on refunds.currency = rates.currency

),

purchases_daily as (

    select
        game_id,
        revenue_date,
        count_if(is_paid) as purchases,
        count(distinct case when is_paid then player_id end) as payers,
        coalesce(sum(amount_usd) filter (where is_paid), 0) as gross_usd,
        count_if(is_paid and receipt_valid is null) as unchecked_purchases,
        count_if(is_first_report and not is_paid) as invalid_purchases,
        count_if(is_paid and amount_usd is null) as unrated,
        max(_purchases_batch_id) as _purchases_batch_id
    from purchases_in_usd
    group by game_id, revenue_date

),

refunds_daily as (

    select
        game_id,
        revenue_date,
        count(*) as refunds,
        coalesce(sum(amount_usd), 0) as refunds_usd,
        count_if(amount_usd is null) as unrated,
        max(_refunds_batch_id) as _refunds_batch_id
    from refunds_in_usd
    group by game_id, revenue_date

),

ads_daily as (

    select
        game_id,
        revenue_date,
        count(*) as ads,
        -- paid by the thousand
        coalesce(sum(cast(ecpm_usd as decimal(18, 6))), 0) / 1000 as ads_usd,
        max(_ads_batch_id) as _ads_batch_id
    from ads
    group by game_id, revenue_date

),

figures as (

    select
        days_to_form.revenue_date,
        days_to_form.game_id,
        coalesce(players.dau, 0) as dau,
        coalesce(purchases_daily.purchases, 0) as purchases,
        coalesce(purchases_daily.payers, 0) as payers,
        coalesce(refunds_daily.refunds, 0) as refunds,
        coalesce(ads_daily.ads, 0) as ads,
        cast(coalesce(purchases_daily.gross_usd, 0) as double) as gross_usd,
        cast(coalesce(refunds_daily.refunds_usd, 0) as double) as refunds_usd,
        cast(coalesce(ads_daily.ads_usd, 0) as double) as ads_usd,
        cast(
            coalesce(purchases_daily.gross_usd, 0)
            - coalesce(refunds_daily.refunds_usd, 0)
            + coalesce(ads_daily.ads_usd, 0)
            as double
        ) as net_usd,
        coalesce(purchases_daily.unchecked_purchases, 0) as unchecked_purchases,
        coalesce(purchases_daily.invalid_purchases, 0) as invalid_purchases,
        coalesce(purchases_daily.unrated, 0) + coalesce(refunds_daily.unrated, 0) as unrated,
        purchases_daily._purchases_batch_id,
        refunds_daily._refunds_batch_id,
        ads_daily._ads_batch_id,
        players._players_batch_id
    from days_to_form
    left outer join players
        on
            days_to_form.game_id = players.game_id
            and days_to_form.revenue_date = players.revenue_date
    left outer join purchases_daily
        on
            days_to_form.game_id = purchases_daily.game_id
            and days_to_form.revenue_date = purchases_daily.revenue_date
    left outer join refunds_daily
        on
            days_to_form.game_id = refunds_daily.game_id
            and days_to_form.revenue_date = refunds_daily.revenue_date
    left outer join ads_daily
        on
            days_to_form.game_id = ads_daily.game_id
            and days_to_form.revenue_date = ads_daily.revenue_date

),

revenue_daily as (

    select
        revenue_date,
        game_id,
        dau,
        purchases,
        payers,
        refunds,
        ads,
        gross_usd,
        refunds_usd,
        ads_usd,
        net_usd,
        case when dau > 0 then net_usd / dau end as arpdau_usd,
        case when payers > 0 then net_usd / payers end as arppu_usd,
        case when dau > 0 then payers / dau end as conversion,
        unchecked_purchases,
        invalid_purchases,
        unrated,
        _purchases_batch_id,
        _refunds_batch_id,
        _ads_batch_id,
        _players_batch_id
    from figures

)

select * from revenue_daily
