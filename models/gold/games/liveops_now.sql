{#- One row per five minutes, game, offer, variant, segment and currency: what happened to offers in
    these minutes, each thing where it happened. (offer_funnel puts it down to the day of the
    show.) -#}
{{
    config(
        unique_key = ['window_start', 'game_id', 'offer_name', 'variant', 'segment', 'currency'],
        prune_by = 'window_start',
        rewrites = 'window_start',
        clustered_by = ['window_start', 'segment']
    )
}}

with

happenings as (

    {{ offer_happenings() | indent(4) }}

),

happenings_of_windows as (

    select
        *,
        window(event_at, '5 minutes').start as window_start
    from happenings

),

moves as (

    select explode(moved_from) as left_at
    from happenings
    where has_news

),

windows_to_form as (

    select window_start
    from happenings_of_windows
    where has_news

    union distinct

    select window(left_at, '5 minutes').start as window_start
    from moves

),

liveops_now as (

    select
        happenings_of_windows.window_start,
        happenings_of_windows.game_id,
        happenings_of_windows.offer_name,
        happenings_of_windows.variant,
        happenings_of_windows.segment,
        happenings_of_windows.currency,
        count(distinct happenings_of_windows.player_id) as players,
        count_if(happenings_of_windows.what = 'shown') as shows,
        count_if(happenings_of_windows.what = 'clicked') as clicks,
        count_if(happenings_of_windows.what = 'dismissed') as dismissals,
        count_if(happenings_of_windows.what = 'bought') as purchases,
        coalesce(sum(happenings_of_windows.amount_minor), 0L) as revenue_minor,
        max(happenings_of_windows._shows_batch_id) as _shows_batch_id,
        max(happenings_of_windows._results_batch_id) as _results_batch_id,
        max(happenings_of_windows._purchases_batch_id) as _purchases_batch_id,
        -- nulls are passed over
        greatest(
            max(happenings_of_windows._shows_batch_id),
            max(happenings_of_windows._results_batch_id),
            max(happenings_of_windows._purchases_batch_id)
        ) as _batch_id
    from happenings_of_windows
    left semi join windows_to_form
        on happenings_of_windows.window_start = windows_to_form.window_start
    where happenings_of_windows.is_counted
    group by
        happenings_of_windows.window_start,
        happenings_of_windows.game_id,
        happenings_of_windows.offer_name,
        happenings_of_windows.variant,
        happenings_of_windows.segment,
        happenings_of_windows.currency
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
