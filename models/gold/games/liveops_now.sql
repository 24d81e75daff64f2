{#- One row per five minutes, game, offer, variant, segment and currency: what happened to offers in
    these minutes, each thing where it happened. (offer_funnel puts it down to the day of the show.)
    What follows a show is known by offer_id, which is made anew for each time. -#}
{{
    config(
        unique_key = ['window_start', 'game_id', 'offer_name', 'variant', 'segment', 'currency'],
        prune_by = 'window_start',
        rewrites = 'window_start',
        clustered_by = ['window_start', 'segment']
    )
}}
{%- set days = 1 + (var('offer_attribution_hours') | int) // 24 %}
{%- set is_near_any_news -%}
{{ is_near_news('game_offer_shown', 'happened_on', days, cursor='_shows_batch_id') }}
or {{ is_near_news('game_offer_result', 'happened_on', days, cursor='_results_batch_id') }}
or {{ is_near_news('game_iap_purchase', 'happened_on', days, cursor='_purchases_batch_id') }}
or {{ is_near_former('game_offer_shown', 'happened_on', days, cursor='_shows_batch_id') }}
or {{ is_near_former('game_offer_result', 'happened_on', days, cursor='_results_batch_id') }}
or {{ is_near_former('game_iap_purchase', 'happened_on', days, cursor='_purchases_batch_id') }}
{%- endset %}

with

shows as (

    select
        game_id,
        player_id,
        offer_id,
        min(event_at) as shown_at,
        coalesce(min_by(offer_name, event_at), '') as offer_name,
        coalesce(min_by(variant, event_at), '') as variant,
        coalesce(min_by(segment, event_at), '') as segment,
        coalesce(min_by(currency, event_at), '') as currency,
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
        result,
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
        result as what,
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
        amount_minor,
        moved_from,
        null as _results_batch_id,
        _purchases_batch_id
    from transactions
    where is_paid

),

happenings_of_offers as (

    select
        window(happenings.event_at, '5 minutes').start as window_start,
        happenings.game_id,
        coalesce(shows.offer_name, '') as offer_name,
        coalesce(shows.variant, '') as variant,
        coalesce(shows.segment, '') as segment,
        coalesce(shows.currency, '') as currency,
        happenings.player_id,
        happenings.what,
        happenings.amount_minor,
        happenings.moved_from,
        shows._shows_batch_id,
        happenings._results_batch_id,
        happenings._purchases_batch_id
    from happenings
    left outer join shows
        on
            happenings.game_id = shows.game_id
            and happenings.player_id = shows.player_id
            and happenings.offer_id = shows.offer_id
            and happenings.event_at between
            shows.shown_at
            and shows.shown_at
            + make_interval(0, 0, 0, 0, {{ var('offer_attribution_hours') }})

),

happenings_with_news as (

    select *
    from happenings_of_offers
    where
        {{ is_new('_shows_batch_id', '_shows_batch_id') }}
        or {{ is_new('_results_batch_id', '_results_batch_id') }}
        or {{ is_new('_purchases_batch_id', '_purchases_batch_id') }}

),

moves as (

    select explode(moved_from) as happened_at
    from happenings_with_news

),

windows_to_form as (

    select window_start
    from happenings_with_news

    union distinct

    select window(happened_at, '5 minutes').start as window_start
    from moves

),

liveops_now as (

    select
        happenings_of_offers.window_start,
        happenings_of_offers.game_id,
        happenings_of_offers.offer_name,
        happenings_of_offers.variant,
        happenings_of_offers.segment,
        happenings_of_offers.currency,
        count(distinct happenings_of_offers.player_id) as players,
        count_if(happenings_of_offers.what = 'shown') as shows,
        count_if(happenings_of_offers.what = 'clicked') as clicks,
        count_if(happenings_of_offers.what = 'dismissed') as dismissals,
        count_if(happenings_of_offers.what = 'bought') as purchases,
        coalesce(sum(happenings_of_offers.amount_minor), 0L) as revenue_minor,
        max(happenings_of_offers._shows_batch_id) as _shows_batch_id,
        max(happenings_of_offers._results_batch_id) as _results_batch_id,
        max(happenings_of_offers._purchases_batch_id) as _purchases_batch_id,
        -- nulls are passed over
        greatest(
            max(happenings_of_offers._shows_batch_id),
            max(happenings_of_offers._results_batch_id),
            max(happenings_of_offers._purchases_batch_id)
        ) as _batch_id
    from happenings_of_offers
    left semi join windows_to_form
        on happenings_of_offers.window_start = windows_to_form.window_start
    group by
        happenings_of_offers.window_start,
        happenings_of_offers.game_id,
        happenings_of_offers.offer_name,
        happenings_of_offers.variant,
        happenings_of_offers.segment,
        happenings_of_offers.currency
    {%- if is_incremental() %}

    union all

    -- the window alone: what happened in it may have moved away
    select
        window_start,
        null as game_id,
        null as offer_name,
        null as variant,
        null as segment,
        null as currency,
        null as players,
        null as shows,
        null as clicks,
        null as dismissals,
        null as purchases,
        null as revenue_minor,
        null as _shows_batch_id,
        null as _results_batch_id,
        null as _purchases_batch_id,
        null as _batch_id
    from windows_to_form
    {%- endif %}

)

select * from liveops_now
