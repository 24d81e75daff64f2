{#- Query of the windows of game_windows that may have changed as events moved away from their
    minutes: those of a minute that was left, and those that it may be missed in; or of the hours
    that these begin in (unit = 'hour'). -#}
{%- macro game_windows_left(column='window_start', unit='minute') -%}
    select distinct
        explode(
            sequence(
                date_trunc('{{ unit }}', date_trunc('minute', left_at) - interval 4 minutes),
                date_trunc('minute', left_at) + interval {{ var('game_silence_hours') }} hours,
                interval 1 {{ unit }}
            )
        ) as {{ column }}
    from {{ ref('game_moves') }}
    where {{ has_moved('_batch_id') }}
{%- endmacro -%}
