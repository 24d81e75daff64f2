{#- One row per game, day and virtual currency: what was earned and spent, and whether the balances
    that the game tells of say the same. -#}
{{
    config(
        unique_key = ['changed_on', 'game_id', 'currency'],
        prune_by = 'changed_on',
        rewrites = ['changed_on', 'game_id'],
        clustered_by = ['changed_on', 'currency']
    )
}}
{#- A balance is told of just after what changed it, which may be the next day. -#}
{%- set is_near_any_news -%}
{{ is_near_moving_news('game_currency_earned', 1, cursor='_earned_batch_id') }}
or {{ is_near_moving_news('game_currency_spent', 1, cursor='_spent_batch_id') }}
or {{ is_near_moving_news('game_balance_changed', 1, cursor='_balances_batch_id') }}
{%- endset %}

with

earned as (

    select
        happened_on,
        game_id,
        player_id,
        currency,
        event_id,
        amount,
        'earned' as kind,
        moved_from,
        _batch_id as _earned_batch_id,
        cast(null as bigint) as _spent_batch_id
    from {{ ref('game_currency_earned') }}
    where {{ is_near_any_news }}

),

spent as (

    select
        happened_on,
        game_id,
        player_id,
        currency,
        event_id,
        amount,
        'spent' as kind,
        moved_from,
        cast(null as bigint) as _earned_batch_id,
        _batch_id as _spent_batch_id
    from {{ ref('game_currency_spent') }}
    where {{ is_near_any_news }}

),

balances as (

    select
        happened_on,
        game_id,
        player_id,
        currency,
        order_id,
        new - old as change,
        moved_from,
        _batch_id as _balances_batch_id
    from {{ ref('game_balance_changed') }}
    where {{ is_near_any_news }}

),

orders as (

    select *
    from earned
    union all
    select *
    from spent

),

moves as (

    select
        game_id,
        explode(moved_from) as left_at
    from orders
    where
        {{ has_moved('_earned_batch_id', '_earned_batch_id') }}
        or {{ has_moved('_spent_batch_id', '_spent_batch_id') }}
    union all
    select
        game_id,
        explode(moved_from) as left_at
    from balances
    where {{ has_moved('_balances_batch_id', '_balances_batch_id') }}

),

days_with_news as (

    select
        game_id,
        happened_on
    from earned
    where {{ is_new('_earned_batch_id', '_earned_batch_id') }}
    union distinct
    select
        game_id,
        happened_on
    from spent
    where {{ is_new('_spent_batch_id', '_spent_batch_id') }}
    union distinct
    select
        game_id,
        happened_on
    from balances
    where {{ is_new('_balances_batch_id', '_balances_batch_id') }}
    union distinct
    select
        game_id,
        cast(left_at as date) as happened_on
    from moves

),

-- the order of a balance may have come after it, or of the day before
days_to_form as (

    select distinct
        game_id,
        explode(sequence(happened_on, date_add(happened_on, 1))) as happened_on
    from days_with_news

),

balances_with_order as (

    select
        balances.happened_on,
        balances.game_id,
        balances.currency,
        orders.event_id is null as is_unexplained,
        coalesce(
            balances.change
            <> case when orders.kind = 'earned' then orders.amount else -orders.amount end,
            false
        ) as is_broken,
        balances._balances_batch_id
    from balances
    left outer join orders
        on
            balances.game_id = orders.game_id
            and balances.player_id = orders.player_id
            and balances.currency = orders.currency
            and lower(balances.order_id) = orders.event_id
            and orders.happened_on between
            date_sub(balances.happened_on, 1)
            and balances.happened_on

),

changes as (

    select
        happened_on,
        game_id,
        currency,
        player_id,
        case when kind = 'earned' then amount end as earned,
        case when kind = 'spent' then amount end as spent,
        false as is_balance,
        false as is_unexplained,
        false as is_broken,
        _earned_batch_id,
        _spent_batch_id,
        cast(null as bigint) as _balances_batch_id
    from orders
    union all
    select
        happened_on,
        game_id,
        currency,
        cast(null as string) as player_id,
        cast(null as bigint) as earned,
        cast(null as bigint) as spent,
        true as is_balance,
        is_unexplained,
        is_broken,
        cast(null as bigint) as _earned_batch_id,
        cast(null as bigint) as _spent_batch_id,
        _balances_batch_id
    from balances_with_order

),

economy_balance as (

    select
        changes.happened_on as changed_on,
        changes.game_id,
        coalesce(changes.currency, '') as currency,
        count(distinct changes.player_id) as players,
        coalesce(sum(changes.earned), 0) as earned,
        coalesce(sum(changes.spent), 0) as spent,
        coalesce(sum(changes.earned), 0) - coalesce(sum(changes.spent), 0) as net,
        count_if(changes.is_balance) as balances,
        count_if(changes.is_broken) as broken_balances,
        count_if(changes.is_unexplained) as unexplained_balances,
        max(changes._earned_batch_id) as _earned_batch_id,
        max(changes._spent_batch_id) as _spent_batch_id,
        max(changes._balances_batch_id) as _balances_batch_id,
        -- nulls are passed over
        greatest(
            max(changes._earned_batch_id),
            max(changes._spent_batch_id),
            max(changes._balances_batch_id)
        ) as _batch_id
    from changes
    left semi join days_to_form
        on
            changes.game_id = days_to_form.game_id
            and changes.happened_on = days_to_form.happened_on
    group by changes.happened_on, changes.game_id, coalesce(changes.currency, '')
    {%- if is_incremental() %}

    union all

    -- the day alone: what changed on it may have moved away
    select
        happened_on as changed_on,
        game_id,
        null as currency,
        null as players,
        null as earned,
        null as spent,
        null as net,
        null as balances,
        null as broken_balances,
        null as unexplained_balances,
        null as _earned_batch_id,
        null as _spent_batch_id,
        null as _balances_batch_id,
        null as _batch_id
    from days_to_form
    {%- endif %}

)

select * from economy_balance
