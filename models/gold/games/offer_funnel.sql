{#- One row per game, day, offer, variant, segment and currency: of the times that it was shown on
    that day, how many were clicked, dismissed and bought. What follows a show counts for the day of
    the show. -#}
{{
    config(
        unique_key = ['shown_on', 'game_id', 'offer_name', 'variant', 'segment', 'currency'],
        prune_by = 'shown_on',
        rewrites = ['shown_on', 'game_id'],
        clustered_by = ['shown_on', 'offer_name']
    )
}}

with

happenings as (

    {{ offer_happenings() | indent(4) }}

),

happenings_of_days as (

    select
        *,
        cast(shown_at as date) as shown_on
    from happenings
    where shown_at is not null

),

moves as (

    select
        game_id,
        explode(show_moved_from) as left_at
    from happenings_of_days
    where has_news

),

days_to_form as (

    select
        game_id,
        shown_on
    from happenings_of_days
    where has_news

    union distinct

    select
        game_id,
        cast(left_at as date) as shown_on
    from moves

),

shows as (

    select
        happenings_of_days.shown_on,
        happenings_of_days.game_id,
        happenings_of_days.offer_name,
        happenings_of_days.variant,
        happenings_of_days.segment,
        happenings_of_days.currency,
        happenings_of_days.player_id,
        happenings_of_days.offer_id,
        coalesce(bool_or(happenings_of_days.what = 'clicked'), false) as is_clicked,
        coalesce(bool_or(happenings_of_days.what = 'dismissed'), false) as is_dismissed,
        coalesce(bool_or(happenings_of_days.what = 'bought'), false) as is_bought,
        coalesce(sum(happenings_of_days.amount_minor), 0L) as revenue_minor,
        max(happenings_of_days._shows_batch_id) as _shows_batch_id,
        max(happenings_of_days._results_batch_id) as _results_batch_id,
        max(happenings_of_days._purchases_batch_id) as _purchases_batch_id
    from happenings_of_days
    left semi join days_to_form
        on
            happenings_of_days.game_id = days_to_form.game_id
            and happenings_of_days.shown_on = days_to_form.shown_on
    where happenings_of_days.is_its and happenings_of_days.is_counted
    group by
        happenings_of_days.shown_on,
        happenings_of_days.game_id,
        happenings_of_days.offer_name,
        happenings_of_days.variant,
        happenings_of_days.segment,
        happenings_of_days.currency,
        happenings_of_days.player_id,
        happenings_of_days.offer_id

),

offer_funnel as (

    select
        shown_on,
        game_id,
        offer_name,
        variant,
        segment,
        currency,
        count(*) as shows,
        count(distinct player_id) as players,
        count_if(is_clicked) as clicks,
        count_if(is_dismissed) as dismissals,
        count_if(is_bought) as purchases,
        sum(revenue_minor) as revenue_minor,
        count_if(is_clicked) / count(*) as click_rate,
        count_if(is_bought) / count(*) as purchase_rate,
        sum(revenue_minor) / count(*) as revenue_minor_per_show,
        max(_shows_batch_id) as _shows_batch_id,
        max(_results_batch_id) as _results_batch_id,
        max(_purchases_batch_id) as _purchases_batch_id,
        -- nulls are passed over
        greatest(
            max(_shows_batch_id), max(_results_batch_id), max(_purchases_batch_id)
        ) as _batch_id
    from shows
    group by shown_on, game_id, offer_name, variant, segment, currency
    {%- if is_incremental() %}

    union all

    -- the day alone: what was shown on it may have moved away
    select
        shown_on,
        game_id,
        null as offer_name,
        null as variant,
        null as segment,
        null as currency,
        null as shows,
        null as players,
        null as clicks,
        null as dismissals,
        null as purchases,
        null as revenue_minor,
        null as click_rate,
        null as purchase_rate,
        null as revenue_minor_per_show,
        null as _shows_batch_id,
        null as _results_batch_id,
        null as _purchases_batch_id,
        null as _batch_id
    from days_to_form
    {%- endif %}

)

select * from offer_funnel
