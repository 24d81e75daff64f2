{#- One row per game and day with players, purchases, refunds or advertisements: what they brought.
    A refund counts on its own day, as the money does. -#}
{{
    config(
        unique_key = ['revenue_date', 'game_id'],
        prune_by = 'revenue_date',
        rewrites = ['revenue_date', 'game_id'],
        clustered_by = ['revenue_date']
    )
}}

with

payments as (

    select *
    from {{ ref('game_payments') }}
    where kind <> 'install'

),

players as (

    select
        game_id,
        activity_date as revenue_date,
        dau,
        _batch_id as _players_batch_id
    from {{ ref('players_daily') }}

),

payments_that_moved as (

    select
        game_id,
        explode(moved_from) as left_at
    from payments
    where
        (kind = 'purchase' and {{ has_moved('_batch_id', '_purchases_batch_id') }})
        or (kind = 'refund' and {{ has_moved('_batch_id', '_refunds_batch_id') }})
        or (kind = 'advertisement' and {{ has_moved('_batch_id', '_ads_batch_id') }})

),

days_to_form as (

    select
        game_id,
        happened_on as revenue_date
    from payments
    where
        (kind = 'purchase' and {{ is_new('_batch_id', '_purchases_batch_id') }})
        or (kind = 'refund' and {{ is_new('_batch_id', '_refunds_batch_id') }})
        or (kind = 'advertisement' and {{ is_new('_batch_id', '_ads_batch_id') }})
    union distinct
    select
        game_id,
        revenue_date
    from players
    where {{ is_new('_players_batch_id', '_players_batch_id') }}
    union distinct
    select
        game_id,
        cast(left_at as date) as revenue_date
    from {{ ref('game_moves') }}
    where is_play and {{ has_moved('_batch_id', '_players_batch_id') }}
    union distinct
    select
        game_id,
        cast(left_at as date) as revenue_date
    from payments_that_moved

),

payments_daily as (

    select
        game_id,
        happened_on as revenue_date,
        count_if(kind = 'purchase' and is_counted) as purchases,
        count(distinct case when kind = 'purchase' and is_counted then player_id end) as payers,
        count_if(kind = 'refund') as refunds,
        count_if(kind = 'advertisement') as ads,
        coalesce(sum(amount_usd) filter (where kind = 'purchase' and is_counted), 0) as gross_usd,
        -coalesce(sum(amount_usd) filter (where kind = 'refund'), 0) as refunds_usd,
        coalesce(sum(amount_usd) filter (where kind = 'advertisement'), 0) as ads_usd,
        count_if(kind = 'purchase' and is_counted and receipt_valid is null) as unchecked_purchases,
        count_if(is_first_report and not is_counted) as invalid_purchases,
        count_if(is_counted and kind <> 'advertisement' and amount_usd is null) as unrated,
        max(_batch_id) filter (where kind = 'purchase') as _purchases_batch_id,
        max(_batch_id) filter (where kind = 'refund') as _refunds_batch_id,
        max(_batch_id) filter (where kind = 'advertisement') as _ads_batch_id
    from payments
    group by game_id, happened_on

),

figures as (

    select
        days_to_form.revenue_date,
        days_to_form.game_id,
        coalesce(players.dau, 0) as dau,
        coalesce(payments_daily.purchases, 0) as purchases,
        coalesce(payments_daily.payers, 0) as payers,
        coalesce(payments_daily.refunds, 0) as refunds,
        coalesce(payments_daily.ads, 0) as ads,
        cast(coalesce(payments_daily.gross_usd, 0) as double) as gross_usd,
        cast(coalesce(payments_daily.refunds_usd, 0) as double) as refunds_usd,
        cast(coalesce(payments_daily.ads_usd, 0) as double) as ads_usd,
        cast(
            coalesce(
                payments_daily.gross_usd - payments_daily.refunds_usd + payments_daily.ads_usd, 0
            ) as double
        ) as net_usd,
        coalesce(payments_daily.unchecked_purchases, 0) as unchecked_purchases,
        coalesce(payments_daily.invalid_purchases, 0) as invalid_purchases,
        coalesce(payments_daily.unrated, 0) as unrated,
        payments_daily._purchases_batch_id,
        payments_daily._refunds_batch_id,
        payments_daily._ads_batch_id,
        players._players_batch_id
    from days_to_form
    left outer join players
        on
            days_to_form.game_id = players.game_id
            and days_to_form.revenue_date = players.revenue_date
    left outer join payments_daily
        on
            days_to_form.game_id = payments_daily.game_id
            and days_to_form.revenue_date = payments_daily.revenue_date

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
        _players_batch_id,
        -- nulls are passed over; of a day of which nothing is left there is none
        greatest(
            _purchases_batch_id, _refunds_batch_id, _ads_batch_id, _players_batch_id
        ) as _batch_id
    from figures

)

select * from revenue_daily
