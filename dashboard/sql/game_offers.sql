-- One row per offer, variant, segment and currency of the chosen game: its last seven days.
with

recent as (

    select *
    from gold.offer_funnel
    where
        game_id = getvariable('game')
        and shown_on > (
            select max(newest.shown_on) - 7
            from gold.offer_funnel as newest
            where newest.game_id = getvariable('game')
        )

),

game_offers as (

    select
        offer_name,
        variant,
        segment,
        currency,
        cast(sum(shows) as bigint) as shows,
        sum(clicks) / sum(shows) as click_rate,
        sum(purchases) / sum(shows) as purchase_rate,
        sum(revenue_minor) / sum(shows) as revenue_minor_per_show
    from recent
    group by offer_name, variant, segment, currency
    having sum(shows) > 0

)

select *
from game_offers
order by shows desc, offer_name, variant, segment
