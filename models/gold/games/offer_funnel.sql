{#- One row per game, day, offer, variant and segment: of the times that it was shown on that day,
    how many were clicked and bought. What follows is known by offer_id, which is made anew for each
    time, and counts for the day of the show, if the purchase comes soon enough. -#}
{{
    config(
        unique_key = ['shown_on', 'game_id', 'offer_name', 'variant', 'segment', 'currency'],
        prune_by = 'shown_on',
        clustered_by = ['shown_on', 'offer_name']
    )
}}
{%- set days = 1 + (var('offer_attribution_hours') | int) // 24 %}
{%- set is_near_any_news -%}
{{ is_near_news('game_offer_shown', 'happened_on', days, cursor='_shows_batch_id') }}
or {{ is_near_news('game_offer_result', 'happened_on', days, cursor='_results_batch_id') }}
or {{ is_near_news('game_iap_purchase', 'happened_on', days, cursor='_purchases_batch_id') }}
{%- endset %}

with

shows as (

    select
        happened_on as shown_on,
        game_id,
        coalesce(offer_name, '') as offer_name,
        coalesce(variant, '') as variant,
        coalesce(segment, '') as segment,
        coalesce(currency, '') as currency,
        player_id,
        offer_id,
        event_at as shown_at,
        _batch_id as _shows_batch_id
    from {{ ref('game_offer_shown') }}
    where {{ is_near_any_news }}

),

results as (

    select
        game_id,
        player_id,
        offer_id,
        count_if(result = 'clicked') > 0 as is_clicked,
        count_if(result = 'dismissed') > 0 as is_dismissed,
        max(_batch_id) as _results_batch_id
    from {{ ref('game_offer_result') }}
    where {{ is_near_any_news }}
    group by game_id, player_id, offer_id

),

-- a transaction may be reported more than once
transactions as (

    select
        game_id,
        player_id,
        offer_id,
        min(event_at) as purchased_at,
        min_by(amount_minor, struct(event_at, event_id)) as amount_minor,
        min_by(receipt_valid, struct(event_at, event_id)) is distinct from false as is_paid,
        max(_batch_id) as _purchases_batch_id
    from {{ ref('game_iap_purchase') }}
    where offer_id is not null and ({{ is_near_any_news }})
    group by game_id, player_id, offer_id, coalesce(transaction_id, event_id)

),

purchases as (

    select
        game_id,
        player_id,
        offer_id,
        array_agg(struct(purchased_at, amount_minor)) filter (where is_paid) as payments,
        max(_purchases_batch_id) as _purchases_batch_id
    from transactions
    group by game_id, player_id, offer_id

),

shows_with_results as (

    select
        shows.*,
        coalesce(results.is_clicked, false) as is_clicked,
        coalesce(results.is_dismissed, false) as is_dismissed,
        results._results_batch_id
    from shows
    left outer join results
        on
            shows.game_id = results.game_id
            and shows.player_id = results.player_id
            and shows.offer_id = results.offer_id

),

shows_with_payments as (

    select
        shows_with_results.*,
        filter(
            coalesce(purchases.payments, array()),
            payment -> payment.purchased_at >= shows_with_results.shown_at
            and payment.purchased_at
            <= shows_with_results.shown_at
            + make_interval(0, 0, 0, 0, {{ var('offer_attribution_hours') }})
        ) as payments,
        purchases._purchases_batch_id
    from shows_with_results
    left outer join purchases
        on
            shows_with_results.game_id = purchases.game_id
            and shows_with_results.player_id = purchases.player_id
            and shows_with_results.offer_id = purchases.offer_id

),

days_to_form as (

    select distinct
        game_id,
        shown_on
    from shows_with_payments
    where
        {{ is_new('_shows_batch_id', '_shows_batch_id') }}
        or {{ is_new('_results_batch_id', '_results_batch_id') }}
        or {{ is_new('_purchases_batch_id', '_purchases_batch_id') }}

),

offer_funnel as (

    select
        shows_with_payments.shown_on,
        shows_with_payments.game_id,
        shows_with_payments.offer_name,
        shows_with_payments.variant,
        shows_with_payments.segment,
        shows_with_payments.currency,
        count(*) as shows,
        count(distinct shows_with_payments.player_id) as players,
        count_if(shows_with_payments.is_clicked) as clicks,
        count_if(shows_with_payments.is_dismissed) as dismissals,
        count_if(size(shows_with_payments.payments) > 0) as purchases,
        sum(aggregate(
            shows_with_payments.payments,
            0L,
            (total, payment) -> total + coalesce(payment.amount_minor, 0L)
        )) as revenue_minor,
        count_if(shows_with_payments.is_clicked) / count(*) as click_rate,
        count_if(size(shows_with_payments.payments) > 0) / count(*) as purchase_rate,
        sum(aggregate(
            shows_with_payments.payments,
            0L,
            (total, payment) -> total + coalesce(payment.amount_minor, 0L)
        )) / count(*) as revenue_minor_per_show,
        max(shows_with_payments._shows_batch_id) as _shows_batch_id,
        max(shows_with_payments._results_batch_id) as _results_batch_id,
        max(shows_with_payments._purchases_batch_id) as _purchases_batch_id
    from shows_with_payments
    left semi join days_to_form
        on
            shows_with_payments.game_id = days_to_form.game_id
            and shows_with_payments.shown_on = days_to_form.shown_on
    group by
        shows_with_payments.shown_on,
        shows_with_payments.game_id,
        shows_with_payments.offer_name,
        shows_with_payments.variant,
        shows_with_payments.segment,
        shows_with_payments.currency

)

select * from offer_funnel
