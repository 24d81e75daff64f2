{#- The query of what happened to offers near news, a row for each thing: a show, an answer, a
    purchase. What follows a show is known by offer_id, which is made anew for each time, and is put
    down to the show if it comes soon enough (is_its). For models with the cursors
    _shows_batch_id, _results_batch_id and _purchases_batch_id. -#}
{%- macro offer_happenings() -%}
{%- set days = 1 + (var('offer_attribution_hours') | int) // 24 -%}
{%- set is_near_any_news -%}
{{ is_near_moving_news('game_offer_shown', days, cursor='_shows_batch_id') }}
or {{ is_near_moving_news('game_offer_result', days, cursor='_results_batch_id') }}
or {{ is_near_moving_news('game_iap_purchase', days, cursor='_purchases_batch_id') }}
{%- endset -%}
with

shows as (

    select
        game_id,
        player_id,
        offer_id,
        min(event_at) as shown_at,
        coalesce(min_by(offer_name, struct(event_at, event_id)), '') as offer_name,
        coalesce(min_by(variant, struct(event_at, event_id)), '') as variant,
        coalesce(min_by(segment, struct(event_at, event_id)), '') as segment,
        coalesce(min_by(currency, struct(event_at, event_id)), '') as currency,
        flatten(collect_list(moved_from)) as moved_from,
        max(_batch_id) as _shows_batch_id
    from {{ ref('game_offer_shown') }}
    where {{ is_near_any_news }}
    group by game_id, player_id, offer_id

),

results as (

    select
        game_id,
        player_id,
        offer_id,
        -- what the contract does not know is an answer, and neither of these
        case when result in ('clicked', 'dismissed') then result end as what,
        event_at,
        moved_from,
        _batch_id as _results_batch_id
    from {{ ref('game_offer_result') }}
    where {{ is_near_any_news }}

),

-- a transaction may be reported more than once
transactions as (

    select
        game_id,
        player_id,
        offer_id,
        min(event_at) as event_at,
        min_by(amount_minor, struct(event_at, event_id)) as amount_minor,
        min_by(receipt_valid, struct(event_at, event_id)) is distinct from false as is_paid,
        flatten(collect_list(moved_from)) as moved_from,
        max(_batch_id) as _purchases_batch_id
    from {{ ref('game_iap_purchase') }}
    where offer_id is not null and ({{ is_near_any_news }})
    group by game_id, player_id, offer_id, coalesce(transaction_id, event_id)

),

happenings as (

    select
        game_id,
        player_id,
        offer_id,
        shown_at as event_at,
        'shown' as what,
        true as is_counted,
        0L as amount_minor,
        moved_from,
        null as _results_batch_id,
        null as _purchases_batch_id
    from shows

    union all

    select
        game_id,
        player_id,
        offer_id,
        event_at,
        what,
        true as is_counted,
        0L as amount_minor,
        moved_from,
        _results_batch_id,
        null as _purchases_batch_id
    from results

    union all

    select
        game_id,
        player_id,
        offer_id,
        event_at,
        'bought' as what,
        is_paid as is_counted,
        amount_minor,
        moved_from,
        null as _results_batch_id,
        _purchases_batch_id
    from transactions

),

happenings_beside_shows as (

    select
        happenings.*,
        shows.shown_at,
        shows.offer_name,
        shows.variant,
        shows.segment,
        shows.currency,
        shows.moved_from as show_moved_from,
        shows._shows_batch_id,
        coalesce(
            happenings.event_at between
            shows.shown_at
            and shows.shown_at
            + make_interval(0, 0, 0, 0, {{ var('offer_attribution_hours') }}),
            false
        ) as is_its
    from happenings
    left outer join shows
        on
            happenings.game_id = shows.game_id
            and happenings.player_id = shows.player_id
            and happenings.offer_id = shows.offer_id

)

select
    game_id,
    player_id,
    offer_id,
    event_at,
    what,
    is_counted,
    amount_minor,
    moved_from,
    shown_at,
    show_moved_from,
    is_its,
    case when is_its then offer_name else '' end as offer_name,
    case when is_its then variant else '' end as variant,
    case when is_its then segment else '' end as segment,
    case when is_its then currency else '' end as currency,
    case when is_its then _shows_batch_id end as _shows_batch_id,
    _results_batch_id,
    _purchases_batch_id,
    -- a show that moves may lose what was put down to it
    coalesce(
        {{ is_new('_shows_batch_id', '_shows_batch_id') }}
        or {{ is_new('_results_batch_id', '_results_batch_id') }}
        or {{ is_new('_purchases_batch_id', '_purchases_batch_id') }},
        false
    ) as has_news
from happenings_beside_shows
{%- endmacro -%}
