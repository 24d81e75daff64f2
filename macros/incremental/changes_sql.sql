{#- What a batch that is the whole truth of some units changes in them: the rows that are new or
    differ, and the keys of those that are no longer there, with null in every other column. -#}
{%- macro changes_sql(target, batch, columns, extent) -%}
    {%- set unit = config.require('rewrites') -%}
    {%- set unique_key = config.require('unique_key') -%}
    with

    units as (

        select distinct {{ unit }} from {{ batch }}

    ),

    rows_of_units as (

        select {% for column in columns %}target.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
        from {{ target }} as target
        left semi join units
            on target.{{ unit }} = units.{{ unit }}
        where target.{{ unit }} between {{ extent.ranges[unit][0] }} and {{ extent.ranges[unit][1] }}

    )

    (
        select {{ columns | join(', ') }} from {{ batch }}
        except
        select {{ columns | join(', ') }} from rows_of_units
    )

    union all

    select
        {% for column in columns -%}
        {{ 'rows_of_units.' ~ column if column in unique_key else 'null' }} as {{ column }}
        {{- ',' if not loop.last }}
        {% endfor -%}
    from rows_of_units
    left anti join {{ batch }} as batch
        on
            {% for column in unique_key -%}
            {{ 'and ' if not loop.first }}rows_of_units.{{ column }} = batch.{{ column }}
            {% endfor %}
{%- endmacro -%}
