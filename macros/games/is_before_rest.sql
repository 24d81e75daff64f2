{#- Whether a day is the last one of play before one with news of a game, or at most so many days
    before that: so a game that comes back from a rest has the days before it. Literals, as
    is_near_news prints them; true for all in a first build. Unit tests replace it. -#}
{%- macro is_before_rest(day, days) -%}
    {%- if execute and is_incremental() -%}
        {%- set query -%}
            with

            game_days as (

                select
                    game_id,
                    activity_date,
                    lag(activity_date) over (
                        partition by game_id order by activity_date
                    ) as previous_date
                from {{ ref('players_daily') }}

            ),

            days_with_news as (

                select
                    game_id,
                    activity_date
                from {{ ref('game_player_days') }}
                where {{ is_new('_batch_id') }}

            )

            select
                cast(date_sub(min(game_days.previous_date), {{ days }}) as string) as first_day,
                cast(max(game_days.previous_date) as string) as last_day
            from game_days
            left semi join days_with_news
                on
                    game_days.game_id = days_with_news.game_id
                    and game_days.activity_date = days_with_news.activity_date
        {%- endset -%}
        {%- set extent = first_row(query) -%}
        {%- if extent[0] is none -%}
            false
        {%- else -%}
            {{ day }} between date'{{ extent[0] }}' and date'{{ extent[1] }}'
        {%- endif -%}
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro -%}
